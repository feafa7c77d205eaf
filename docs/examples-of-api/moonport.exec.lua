-- Hands each client over to a program; `moonport run --allow-exec /bin/cat` lets it.
local function client(source, status)
    if status.kind == "exited" then
        print("it ended with", status.code) --> it ended with	0
        delete_image(source)
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end

net_listen("box", "curvecp://127.0.0.1", 10000, function(listener, status)
    if status.kind == "segment_request" then
        local source = accept_target(client)
        print(moonport.exec(source, { "/bin/cat", "-u" })) --> true
    end
end)
