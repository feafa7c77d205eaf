-- Waits for a word, a second at most.
local function talk(client)
    local status, why = client:expect("message", 1000)
    print(status and status.message or why) --> moon
    client:close()
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.task(talk, moonport.segment(accept_target()))
    end
end)
