-- Counts what a client says.
local function talk(client)
    local heard = 0
    for status in client:events() do
        if status.kind == "message" then
            heard = heard + 1
        end
    end
    print("heard", heard) --> heard	1
    client:close()
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.task(talk, moonport.segment(accept_target()))
    end
end)
