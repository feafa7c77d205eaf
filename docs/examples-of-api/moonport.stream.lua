-- Numbers the lines of a client's stream.
local streams = {}

local function client(source, status)
    local stream = streams[source]
    if status.kind == "registered" then
        streams[source] = moonport.stream(source)
    elseif status.kind == "data" or status.kind == "eof" then
        for line in stream:lines() do
            stream.number = (stream.number or 0) + 1
            stream:write(stream.number .. " " .. line .. "\n")
            print(line)
            --> moon
            --> light
        end
        if status.kind == "eof" then
            stream:finish()
        end
    elseif status.kind == "terminated" then
        streams[source] = nil
        delete_image(source)
    end
end

net_listen("box", "curvecp://127.0.0.1", 10000, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
