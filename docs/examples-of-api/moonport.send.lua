-- Sends the parts of each message back, the last one first.
local function client(source, status)
    if status.kind == "message" then
        local parts = {}
        for at = #status.parts, 1, -1 do
            table.insert(parts, status.parts[at])
        end
        print(moonport.send(source, parts)) --> true
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end

net_listen("fleet", "zmtp://127.0.0.1", 5555, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
