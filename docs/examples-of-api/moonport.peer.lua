-- Who it is, and whose a window of it is.
net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        local peer = moonport.peer(accept_target())
        print(peer.name, peer.key == status.a12_pubk, peer.endpoint == status.a12_endpoint) --> lamp	true	true
        print(type(peer.session), moonport.peer(listener)) --> number	nil
    end
end)
