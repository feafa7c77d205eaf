-- Tells of each frame, but not of pictures that are larger than a screen.
local function client(source, status)
    if status.kind == "registered" then
        target_flags(source, TARGET_VERBOSE)
        target_flags(source, TARGET_LIMITSIZE, 1920, 1080)
    elseif status.kind == "frame" then
        print("frame", status.number, status.width, status.height) --> frame	1	640	480
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
