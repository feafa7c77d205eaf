-- A conversation with each client, in one function.
local function talk(client)
    client:send("who are you?")
    for status in client:events() do
        if status.kind == "registered" then
            print("here is " .. status.title) --> here is anna
        end
    end
    print("gone") --> gone
    client:close()
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.task(talk, moonport.segment(accept_target()))
    end
end)
