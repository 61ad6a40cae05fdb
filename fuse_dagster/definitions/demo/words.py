"""What each column means, once, for all layers that carry it."""

from __future__ import annotations

INGESTION = {
    "_file_name": "Name of the landed file.",
    "_file_size": "Size of the landed file, bytes.",
    "_file_modified": "When the supplier wrote the file (UTC).",
    "_file_hash": "SHA-256 of the landed file.",
    "_row_number": "Row within the file; 1 is the first after the header.",
}

ORIGIN = {
    "_file_name": "File that first said so.",
    "_row_number": "Row within that file.",
}

MONTH = {"_month": "First day of the month that the file is for, by its name."}

RELEASE = {"_release": "Release that the file is, by its name."}

REJECTED = {"_rejection_reasons": "Names of the rules that the row breaks."}

AIRPORT = {
    "icao": "ICAO code, or the code the supplier uses where there is none. The business key.",
    "iata": "IATA code, three letters, as on a ticket.",
    "name": "Official name, as far as the supplier knows it.",
    "city": "City that the airport serves.",
    "subd": "Subdivision of the country: state, province, region.",
    "country": "ISO 3166-1 alpha-2 code of the country.",
    "elevation": "Feet above mean sea level.",
    "lat": "Latitude, decimal degrees, north positive.",
    "lon": "Longitude, decimal degrees, east positive.",
    "tz": "IANA time zone.",
    "lid": "US local identifier (FAA); the supplier has it since release 20240119.",
}

HISTORY = AIRPORT | {
    "valid_from": "From when this version holds, inclusive, UTC.",
    "valid_to": "Until when it holds, exclusive, UTC; null while it still holds.",
    "is_current": "Whether this version still holds.",
}

FLIGHT = {
    "year": "Year of the scheduled departure, local.",
    "month": "Month of the scheduled departure, local.",
    "day": "Day of the scheduled departure, local.",
    "flight_date": "Local date of the scheduled departure.",
    "dep_time": "Actual departure, local clock time as a number: 517 is 05:17.",
    "sched_dep_time": "Scheduled departure, local clock time as a number.",
    "dep_delay": "Minutes after the scheduled departure; negative is early.",
    "arr_time": "Actual arrival, local clock time at the destination as a number.",
    "sched_arr_time": "Scheduled arrival, local clock time at the destination as a number.",
    "arr_delay": "Minutes after the scheduled arrival; negative is early.",
    "carrier": "Two-letter code of the carrier.",
    "flight": "Flight number.",
    "tailnum": "Registration of the plane.",
    "origin": "IATA code of the airport of departure: EWR, JFK or LGA.",
    "dest": "IATA code of the destination.",
    "air_time": "Minutes from take-off to landing.",
    "distance": "Miles between the airports.",
    "hour": "Hour of the scheduled departure, local.",
    "minute": "Minute of the scheduled departure.",
    "time_hour": "Hour of the scheduled departure in UTC, which joins it to the weather.",
    "scheduled_at": "Scheduled departure in UTC.",
    "departed_at": "Actual departure in UTC; null for cancelled flights.",
    "status": "`flown`, `diverted` (landed elsewhere) or `cancelled`.",
}

PLANE = {
    "tailnum": "Registration of the plane. The business key.",
    "year": "Year of manufacture.",
    "type": "Kind of aircraft.",
    "manufacturer": "Manufacturer.",
    "model": "Model.",
    "engines": "Number of engines.",
    "seats": "Number of seats.",
    "speed": "Average cruising speed, mph; rarely known.",
    "engine": "Kind of engine.",
}

CARRIER = {"carrier": "Two-letter code. The business key.", "name": "Full name of the airline."}

WEATHER = {
    "origin": "Weather station: the airport's IATA code.",
    "year": "Year of the recording, local.",
    "month": "Month of the recording, local.",
    "day": "Day of the recording, local.",
    "hour": "Hour of the recording, local.",
    "temp": "Temperature, degrees Fahrenheit.",
    "dewp": "Dew point, degrees Fahrenheit.",
    "humid": "Relative humidity, percent.",
    "wind_dir": "Direction that the wind comes from, degrees.",
    "wind_speed": "Wind speed, mph.",
    "wind_gust": "Speed of gusts, mph.",
    "precip": "Precipitation in the hour, inches.",
    "pressure": "Sea-level pressure, millibars.",
    "visib": "Visibility, miles.",
    "time_hour": "Hour of the recording in UTC.",
}

YEAR_ENDS = {
    "as_of": "The moment, UTC.",
    "previous": "The moment before it; null for the first.",
}

BY_COUNTRY = {
    "as_of": "The moment, UTC.",
    "country": "ISO 3166-1 alpha-2 code.",
    "airports": "Airports that the country has at that moment.",
    "airports_with_iata": "Those of them that have an IATA code.",
    "time_zones": "Time zones that they lie in.",
}

CHANGES = {
    "as_of": "End of the period; it starts at the year end before.",
    "icao": "The airport.",
    "country": "Its country, at the end of the period or when last seen.",
    "change": "`appeared`, `gone`, `moved` (1 km or more), `renamed` or `time zone`.",
    "old": "Name or time zone before.",
    "new": "Name or time zone after.",
    "km": "How far it moved.",
}

ROUTES = {
    "origin": "IATA code of the airport of departure.",
    "dest": "IATA code of the destination.",
    "dest_name": "Its name today; null where no airport, or more than one, has the code now.",
    "dest_city": "Its city today.",
    "dest_country": "Its country today.",
    "flights": "Scheduled flights.",
    "cancelled": "Flights that never left.",
    "diverted": "Flights that landed elsewhere.",
    "carriers": "Airlines on the route.",
    "distance": "Miles.",
    "mean_dep_delay": "Mean departure delay, minutes.",
    "mean_arr_delay": "Mean arrival delay, minutes.",
    "median_arr_delay": "Median arrival delay, minutes.",
    "on_time": "Share of the flights that arrived at most 15 minutes late.",
}

BY_SOURCE = {
    "source": "Who says so: `files` or `flight board`.",
    "flights": "Flights of the day that the source has told of.",
    "departed": "Those that left.",
    "cancelled": "Those that never did.",
    "said": "Rows by which it told: a row per flight, or a version for each change.",
}

DELAYS = {
    "weather": "Weather at the origin in the hour of the scheduled departure; the worst that applies.",
    "flights": "Scheduled flights.",
    "mean_dep_delay": "Mean departure delay, minutes.",
    "cancelled_share": "Share of the flights that were cancelled, 0 to 1.",
}
