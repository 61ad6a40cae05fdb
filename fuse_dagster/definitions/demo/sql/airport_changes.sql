-- What became of each airport between one year end and the next: one row per airport and kind of change.
with before as (
    select year_ends.as_of, history.icao, history.name, history.country, history.tz, history.lat, history.lon
    from year_ends
    join airport_history as history
        on history.valid_from <= year_ends.previous
        and (history.valid_to > year_ends.previous or history.valid_to is null)
),
after as (
    select year_ends.as_of, history.icao, history.name, history.country, history.tz, history.lat, history.lon
    from year_ends
    join airport_history as history
        on history.valid_from <= year_ends.as_of
        and (history.valid_to > year_ends.as_of or history.valid_to is null)
    where year_ends.previous is not null
),
both_ends as (
    select
        before.as_of, before.icao, before.country,
        before.name as old_name, after.name as new_name,
        before.tz as old_tz, after.tz as new_tz,
        -- Great-circle distance (haversine) on a sphere of the Earth's mean radius, in km.
        2 * 6371.0088 * asin(sqrt(least(1.0,
            pow(sin(radians(after.lat - before.lat) / 2), 2)
            + cos(radians(before.lat)) * cos(radians(after.lat)) * pow(sin(radians(after.lon - before.lon) / 2), 2)
        ))) as km
    from before
    join after on after.as_of = before.as_of and after.icao = before.icao
)
select after.as_of, after.icao, after.country, 'appeared' as change, null as old, after.name as new, null as km
from after
anti join before on before.as_of = after.as_of and before.icao = after.icao
union all
select before.as_of, before.icao, before.country, 'gone', before.name, null, null
from before
anti join after on after.as_of = before.as_of and after.icao = before.icao
union all
select as_of, icao, country, 'renamed', old_name, new_name, null
from both_ends where old_name is distinct from new_name
union all
select as_of, icao, country, 'time zone', old_tz, new_tz, null
from both_ends where old_tz is distinct from new_tz
union all
-- Below 1 km it is the same field, surveyed better.
select as_of, icao, country, 'moved', new_name, new_name, round(km, 1)
from both_ends where km >= 1
order by as_of, change, icao
