-- Says how large a client is shown, before it draws anything, and that it is not seen for now.
local function client(source, status)
    if status.kind == "preroll" then
        target_displayhint(source, 640, 480)
    elseif status.kind == "resized" then
        print(status.width, status.height) --> 640	480
        target_displayhint(source, 0, 0, TD_HINT_INVISIBLE)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
