-- Text four millimetres high, with hinting as it is.
local function client(source, status)
    if status.kind == "preroll" then
        print(target_fonthint(source, 4, -1)) --> true	0	0
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
