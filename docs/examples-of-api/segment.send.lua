-- Answers each message.
local function talk(client)
    for status in client:events() do
        if status.kind == "message" then
            print(client:send("you said " .. status.message)) --> true
        end
    end
    client:close()
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.task(talk, moonport.segment(accept_target()))
    end
end)
