-- Finds the client that a window belongs to.
local function window(source, status)
    if status.kind == "registered" then
        local owner = target_parent(source)
        print(owner ~= BADID, target_parent(owner) == BADID) --> true	true
    end
end

local function client(source, status)
    if status.kind == "segment_request" then
        accept_target(window)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
