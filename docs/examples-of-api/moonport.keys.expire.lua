-- Whoever comes may come for another hour.
net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.keys.expire(status.a12_pubk, os.time() + 3600, function(answer)
            print("expires", answer.ok) --> expires	true
        end)
        accept_target()
    end
end)
