-- Answers what clients say.
local function client(source, status)
    if status.kind == "message" then
        print(message_target(source, "you said " .. status.message)) --> 0
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
