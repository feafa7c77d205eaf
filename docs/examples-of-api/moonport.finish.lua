-- Counts the bytes of a client's stream, answers when it is complete, and ends.
local counted = {}

local function client(source, status)
    if status.kind == "data" then
        counted[source] = (counted[source] or 0) + #status.data
    elseif status.kind == "eof" then
        print(counted[source]) --> 11
        moonport.write(source, counted[source] .. " bytes\n")
        moonport.finish(source, status.failed)
    elseif status.kind == "terminated" then
        counted[source] = nil
        delete_image(source)
    end
end

net_listen("box", "curvecp://127.0.0.1", 10000, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
