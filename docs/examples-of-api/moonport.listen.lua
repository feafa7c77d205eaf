-- Requires a secret, and for an hour lets two unknown keys in that know it.
local function client(source, status)
    if status.kind == "terminated" then
        delete_image(source)
    end
end

moonport.listen({
    name = "lamp",
    interface = "127.0.0.1",
    port = 6680,
    secret = "a long one is better",
    window = { count = 2, for_s = 3600 },
}, function(listener, status)
    if status.kind == "segment_request" then
        print(status.a12_new and "a new key" or "a known key") --> a new key
        accept_target(client)
    end
end)
