-- Gives each client a program that sends back what it says.
local function client(source, status)
    if status.kind == "exited" then
        print("it ended with", status.code) --> it ended with	0
        delete_image(source)
    end
end

net_listen("box", "curvecp://127.0.0.1", 10000, function(listener, status)
    if status.kind == "segment_request" then
        local vid = accept_target(client)
        print(moonport.exec(vid, { "/bin/cat", "-u" })) --> true
    end
end)
