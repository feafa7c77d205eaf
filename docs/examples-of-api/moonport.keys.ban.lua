-- Whoever comes is not let in, nor ever again.
net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.keys.ban(status.a12_pubk, function(answer)
            print("banned", answer.ok) --> banned	true
        end)
    end
end)
