-- How punctual each route out of New York was in 2013, with today's name and place of the destination.
-- The airports are those that have an IATA code now; a code that two airports share names neither.
with served as (
    select iata, min(name) as name, min(city) as city, min(country) as country
    from airports
    where iata <> ''
    group by iata
    having count(*) = 1
)
select
    flights.origin,
    flights.dest,
    served.name as dest_name,
    served.city as dest_city,
    served.country as dest_country,
    count(*) as flights,
    count(*) filter (flights.status = 'cancelled') as cancelled,
    count(*) filter (flights.status = 'diverted') as diverted,
    count(distinct flights.carrier) as carriers,
    max(flights.distance) as distance,
    round(avg(flights.dep_delay), 1) as mean_dep_delay,
    round(avg(flights.arr_delay), 1) as mean_arr_delay,
    median(flights.arr_delay) as median_arr_delay,
    round(avg(cast(flights.arr_delay <= 15 as integer)), 3) as on_time
from flights
left join served on served.iata = flights.dest
group by flights.origin, flights.dest, served.name, served.city, served.country
order by flights desc, flights.origin, flights.dest
