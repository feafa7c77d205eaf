-- hello.lua: greets everybody who is let in, and repeats what they say.
--
--     moonport run hello.lua              listens on port 6680
--     moonport run hello.lua -- 7000      listens on port 7000
--
-- Nobody is let in until you say so. In another terminal:
--
--     moonport window open hello          prints a secret, good for one new client
--     moonport connect 127.0.0.1 --ask-secret --tag here
--     moonport connect @here              from then on the key is known, without the secret
--
-- The client is Moonport's own here; Arcan's programs are clients as well.

-- Programs on this machine only. An empty interface, "", means all of them.
local INTERFACE, PORT = "127.0.0.1", 6680

local listener

-- What a client is still in the middle of saying: long texts come in several messages.
local begun = {}

-- Called for everything that happens to one client. `source` stands for the client.
local function client(source, status)
    if status.kind == "registered" then
        message_target(source, "hello, " .. status.title)

    elseif status.kind == "message" then
        local text = (begun[source] or "") .. status.message
        begun[source] = status.multipart and text or nil
        if status.multipart then
            return
        end
        if text == "close the door" then
            -- The listener goes, and nobody else comes in. Those inside stay.
            if valid_vid(listener) then
                delete_image(listener)
            end
            message_target(source, "the door is closed")
        else
            message_target(source, "you said: " .. text)
        end

    elseif status.kind == "terminated" then
        begun[source] = nil
        delete_image(source)
    end
end

-- Called for everything that happens to the listener.
local function door(_, status)
    if status.kind == "segment_request" then
        -- Somebody has proved a key that is accepted for "hello". Without this call they would be
        -- turned away.
        accept_target(client)

    elseif status.kind == "registered" then
        print("listening")

    elseif status.kind == "failure" then
        print("somebody was not let in: " .. status.message)

    elseif status.kind == "terminated" then
        print("cannot listen: " .. status.last_words)
    end
end

-- Called once, at the start, with the words after `--`.
function hello(words)
    listener = net_listen("hello", INTERFACE, tonumber(words[1]) or PORT, door)
end
