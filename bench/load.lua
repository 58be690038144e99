-- What wrk does in a run of bench/load.py: requests for a while, at a rate or as fast as they are
-- answered, and then none, so that all of them are answered and can be counted exactly (wrk on its
-- own leaves when its time is over, with a request on its way in each connection).
--
-- From the environment: LOAD_ADDRESSES (host:port, separated by spaces; threads take turns),
-- LOAD_METHOD, LOAD_PATH, LOAD_COUNTERS (how many numbers the '%d' of the path takes, in turn; 0
-- for a path that has none), LOAD_RATE (requests a second, 0 for no limit), LOAD_SECONDS,
-- LOAD_THREADS.

local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } moment;
    int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
-- Milliseconds: longer than any run.
local NEVER = 1e9

local moment = ffi.new("moment")
local function now()
    ffi.C.clock_gettime(MONOTONIC, moment)
    return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

local function number(name)
    return tonumber(os.getenv(name)) or error(name .. " is no number")
end

-- Runs apart from the threads, each of which has an environment of its own.
local threads = {}

function setup(thread)
    local addresses = {}
    for host, port in os.getenv("LOAD_ADDRESSES"):gmatch("([^ ]+):(%d+)") do
        table.insert(addresses, wrk.lookup(host, port)[1])
    end
    thread.addr = addresses[#threads % #addresses + 1]
    thread:set("place", #threads)
    table.insert(threads, thread)
end

sent = 0
local path, counters, rate, seconds, count
local begun, stop, due
local fixed

function init()
    path, counters = os.getenv("LOAD_PATH"), number("LOAD_COUNTERS")
    count = number("LOAD_THREADS")
    rate, seconds = number("LOAD_RATE") / count, number("LOAD_SECONDS")
    wrk.method = os.getenv("LOAD_METHOD")
    if wrk.method ~= "GET" then wrk.headers["Content-Length"] = "0" end
    if counters == 0 then fixed = wrk.format(nil, path) end
end

-- Asked before each request of each connection.
function delay()
    local at = now()
    if not begun then
        begun, stop, due = at, at + seconds, at
    end
    local wait = 0
    if rate > 0 then
        wait = math.max(due - at, 0)
        due = due + 1 / rate
    end
    if at + wait >= stop then return NEVER end
    return wait * 1000
end

function request()
    -- wrk has one made before it begins, to look at it.
    if begun then sent = sent + 1 end
    if fixed then return fixed end
    local turn = place + math.max(sent - 1, 0) * count
    return wrk.format(nil, path:format(turn % counters))
end

function done(summary, latency, requests)
    local all = 0
    for _, thread in ipairs(threads) do all = all + thread:get("sent") end
    local errors = summary.errors
    io.write(string.format(
        'LOAD {"sent": %d, "answered": %d, "refused": %d, "broken": %d, "mean_us": %.0f, '
        .. '"p50_us": %.0f, "p99_us": %.0f, "longest_us": %.0f}\n',
        all, summary.requests, errors.status, errors.connect + errors.read + errors.write,
        latency.mean, latency:percentile(50), latency:percentile(99), latency.max
    ))
end
