-- A client that has said its first word is heard by another function from then on.
local function talk(source, status)
    print("then " .. status.kind)
    --> then coreopt
    --> then resized
    --> then segment_request
    --> then terminated
end

local function client(source, status)
    if status.kind == "message" then
        print("first " .. status.message) --> first moon
        target_updatehandler(source, talk)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
