-- Takes a stream in pieces of four bytes, and what is left at its end.
local streams = {}

local function client(source, status)
    if not streams[source] then
        streams[source] = moonport.stream(source)
    end
    if status.kind == "data" then
        print((moonport.read(source, 4))) --> moon
    elseif status.kind == "eof" then
        print(#moonport.read(source)) --> 7
        moonport.finish(source)
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
