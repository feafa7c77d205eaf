-- Greets everybody whose key is accepted for "lamp".
local function client(source, status)
    if status.kind == "registered" then
        print("here is " .. status.title) --> here is anna
        message_target(source, "welcome")
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "registered" then
        print("listening") --> listening
    elseif status.kind == "segment_request" then
        accept_target(client)
    elseif status.kind == "terminated" then
        print("cannot listen: " .. status.last_words)
    end
end)
