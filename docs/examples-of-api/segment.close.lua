-- Hears one word, and says goodbye.
local function talk(client)
    local status = client:expect("message")
    print("heard " .. status.message) --> heard moon
    client:close()
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.task(talk, moonport.segment(accept_target()))
    end
end)
