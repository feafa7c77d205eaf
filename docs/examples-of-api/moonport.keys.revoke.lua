-- Whoever comes is the last time here.
net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        moonport.keys.revoke(status.a12_pubk, "lamp", function(answer)
            print("revoked", answer.ok) --> revoked	true
        end)
    end
end)
