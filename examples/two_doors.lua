-- two_doors.lua: one script with two ports, one for users and one for admins.
--
--     moonport run two_doors.lua              users on port 6680, admins on port 6681
--     moonport run two_doors.lua -- 7000      users on port 7000, admins on port 7001
--
-- Each port has a name of its own, and a key is accepted for names: an admin's door is shut to users
-- because their keys are not accepted for "admins", whatever they know of the port.
--
--     moonport window open users              for somebody new, and then over there:
--     moonport connect 127.0.0.1:6680 --ask-secret --name bert --tag users
--
--     moonport key accept KEY --scope admins  KEY is what `moonport key own` prints over there
--     moonport connect 127.0.0.1:6681 --tag admins
--
-- Users hear what admins say, and what they say themselves is heard by admins. Besides talking, admins
-- can say /who and /out NAME. The clients are Moonport's own, or Arcan's.

local INTERFACE, PORT = "127.0.0.1", 6680 -- "" instead: reachable from everywhere

-- Who is here: by the client's number, a user's name; and the admins.
local users, admins = {}, {}

local function tell(all, text)
    for source in pairs(all) do
        message_target(source, text)
    end
end

local function user(source, status)
    if status.kind == "registered" and not users[source] then
        users[source] = status.title
        message_target(source, "welcome")
        tell(admins, status.title .. " has come")
    elseif status.kind == "message" and users[source] then
        tell(admins, users[source] .. ": " .. status.message)
    elseif status.kind == "terminated" then
        if users[source] then
            tell(admins, users[source] .. " has left")
        end
        users[source] = nil
        delete_image(source)
    end
end

local function who(source)
    local names = {}
    for _, name in pairs(users) do
        table.insert(names, name)
    end
    table.sort(names)
    message_target(source, "users: " .. table.concat(names, ", "))
end

-- Ends the sessions of whoever is called so. The key stays accepted: `moonport key revoke` is for that.
local function out(name)
    for source, called in pairs(users) do
        if called == name then
            users[source] = nil
            delete_image(source)
            tell(admins, name .. " is out")
        end
    end
end

local function admin(source, status)
    if status.kind == "registered" and not admins[source] then
        admins[source] = true
        message_target(source, "welcome, admin")
    elseif status.kind == "message" then
        local name = status.message:match("^/out (.+)$")
        if name then
            out(name)
        elseif status.message == "/who" then
            who(source)
        else
            tell(users, status.message)
        end
    elseif status.kind == "terminated" then
        admins[source] = nil
        delete_image(source)
    end
end

-- A door whose clients go to one of the two functions above.
local function door(name, port, client)
    net_listen(name, INTERFACE, port, function(_, status)
        if status.kind == "segment_request" then
            accept_target(client)
        elseif status.kind == "registered" then
            print(name .. ": listening on port " .. port)
        elseif status.kind == "terminated" then
            print(name .. ": cannot listen: " .. status.last_words)
        end
    end)
end

function two_doors(words)
    local port = tonumber(words[1]) or PORT
    door("users", port, user)
    door("admins", port + 1, admin)
end
