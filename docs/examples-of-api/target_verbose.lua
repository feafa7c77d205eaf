-- Counts frames.
local frames = 0

local function client(source, status)
    if status.kind == "registered" then
        target_verbose(source)
    elseif status.kind == "frame" then
        frames = frames + 1
    elseif status.kind == "terminated" then
        print("frames", frames) --> frames	1
        delete_image(source)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
