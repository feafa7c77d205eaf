-- Remembers whose key it is.
net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.keys.label(status.a12_pubk, "from " .. status.a12_endpoint, function(answer)
            print("labelled", answer.ok) --> labelled	true
        end)
        accept_target()
    end
end)
