-- Light text on dark ground: sets two colours, then has them used.
local function client(source, status)
    if status.kind == "preroll" then
        target_graphmode(source, 2, 220, 220, 220)
        target_graphmode(source, 15, 20, 20, 30)
        target_graphmode(source, 0)
        print("dark") --> dark
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
