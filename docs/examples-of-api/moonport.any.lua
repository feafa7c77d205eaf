-- Waits for a client, but not for ever.
local listener = net_listen("lamp", "127.0.0.1", 6680)

moonport.task(function()
    local which, client = moonport.any(moonport.segment(listener), 60000)
    print(which and "a client" or client) --> a client
    client:close()
end)
