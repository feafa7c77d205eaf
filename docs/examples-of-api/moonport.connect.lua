-- A client of a ZeroMQ server; `moonport run --allow-connect 127.0.0.1:5555` lets it.
local SERVER = "W1hZqHR1NTaQmyPpIVfnGpBdABFIMyKcs3DtwXfxXno="

moonport.connect({
    address = "zmtp://127.0.0.1:5555",
    key = SERVER,
    options = { socket_type = "dealer" },
}, function(source, status)
    if status.kind == "connected" then
        moonport.send(source, "hello")
    elseif status.kind == "message" then
        print(table.concat(status.parts, " ")) --> moon light
    elseif status.kind == "disconnected" then
        print("tried again in " .. status.retry_ms .. " ms: " .. status.message)
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end)
