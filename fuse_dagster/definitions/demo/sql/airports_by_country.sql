-- How many airports each country has at each year end: the history as it stood at that moment.
-- A moment that meets no version at all keeps one row, with country null and 0 airports; a check fails on it.
select
    year_ends.as_of,
    history.country,
    count(history.icao) as airports,
    count(history.iata) as airports_with_iata,
    count(distinct history.tz) as time_zones
from year_ends
left join airport_history as history
    on history.valid_from <= year_ends.as_of
    and (history.valid_to > year_ends.as_of or history.valid_to is null)
group by year_ends.as_of, history.country
order by year_ends.as_of, airports desc, history.country
