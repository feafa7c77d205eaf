-- A client waits for its first second to be over.
local waiting = {}

local function client(source, status)
    if status.kind == "preroll" then
        suspend_target(source)
        waiting[source] = CLOCK + 1000 / CLOCKRATE
    elseif status.kind == "message" then
        print("it runs, and says " .. status.message) --> it runs, and says moon
    end
end

-- Called 40 times a second, as the script is lamp.lua.
function lamp_clock_pulse(clock)
    for source, when in pairs(waiting) do
        if clock >= when then
            waiting[source] = nil
            resume_target(source)
        end
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
