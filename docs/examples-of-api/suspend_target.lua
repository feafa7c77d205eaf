-- A client that says "moon" is paused; what it says meanwhile is heard a second later.
local paused = {}

local function client(source, status)
    if status.kind == "message" then
        suspend_target(source)
        paused[source] = CLOCK + 1000 / CLOCKRATE
    elseif status.kind == "coreopt" then
        print("heard later", status.argument) --> heard later	volume
    end
end

-- Called 40 times a second, as the script is lamp.lua.
function lamp_clock_pulse(clock)
    for source, when in pairs(paused) do
        if clock >= when then
            paused[source] = nil
            resume_target(source)
        end
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
