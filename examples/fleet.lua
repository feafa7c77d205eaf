-- fleet.lua: machines that speak ZeroMQ report here, and operators hear them and give them orders.
--
--     moonport run fleet.lua              listens on port 5555
--     moonport run fleet.lua -- 7000      listens on port 7000
--
-- Each machine has a key of ZeroMQ's CURVE; a machine is let in once its public key is accepted, and
-- an operator's key is accepted for one more name:
--
--     moonport key accept --scope fleet -- 'PUBLIC KEY OF A MACHINE'
--     moonport key accept --scope fleet,operators -- 'PUBLIC KEY OF AN OPERATOR'
--
-- They connect with a socket of type DEALER, and messages have these parts:
--
--     a machine says    report, TEXT              every operator gets    report, MACHINE, TEXT
--     an operator says  who                       and gets               who, MACHINE, ...
--     an operator says  order, MACHINE, PART ...  the machine gets       order, PART, ...
--                                                 the operator gets      sent or failed, MACHINE
--
-- A machine is called by the identity of its socket, or else by the beginning of its key. docs/protocol/zmtp.md
-- says more.

local INTERFACE, PORT = "zmtp://127.0.0.1", 5555 -- "zmtp://" instead: reachable from everywhere

-- Who is here: the client's number leads to its name, its key, and whether it is an operator.
local clients = {}
-- The machines by their names.
local machines = {}

-- An identity is what a client calls itself, and only its key is proved: a name that another key has is not
-- given away.
local function name_of(request)
    local name = request.zmtp_identity or ""
    local taken = machines[name] and clients[machines[name]]
    if name == "" or (taken and taken.key ~= request.a12_pubk) then
        return request.a12_pubk:sub(1, 8)
    end
    return name
end

local function is_operator(request)
    for tag in request.a12_tags:gmatch("[^,]+") do
        if tag == "operators" then
            return true
        end
    end
    return false
end

local function tell_operators(...)
    for source, client in pairs(clients) do
        if client.operator then
            moonport.send(source, ...)
        end
    end
end

local function from_operator(source, parts)
    local verb, name = parts[1], parts[2]
    if verb == "who" then
        local names = {}
        for machine in pairs(machines) do
            table.insert(names, machine)
        end
        table.sort(names)
        moonport.send(source, "who", unpack(names))
    elseif verb == "order" and #parts > 2 then
        local machine = machines[name]
        -- False: it does not read what is sent to it.
        local sent = machine and moonport.send(machine, "order", unpack(parts, 3))
        moonport.send(source, sent and "sent" or "failed", name)
    end
end

local function from_machine(name, parts)
    if parts[1] == "report" and parts[2] then
        tell_operators("report", name, parts[2])
    end
end

local function client(source, status)
    local known = clients[source]
    if status.kind == "message" then
        if known.operator then
            from_operator(source, status.parts)
        else
            from_machine(known.name, status.parts)
        end
    elseif status.kind == "terminated" then
        if machines[known.name] == source then
            machines[known.name] = nil
        end
        clients[source] = nil
        delete_image(source)
    end
end

local function door(_, status)
    if status.kind == "segment_request" then
        local name, operator = name_of(status), is_operator(status)
        local source = accept_target(client)
        if valid_vid(source) then
            clients[source] = { name = name, key = status.a12_pubk, operator = operator }
            if not operator then
                machines[name] = source
            end
        end
    elseif status.kind == "registered" then
        print("listening")
    elseif status.kind == "terminated" then
        print("cannot listen: " .. status.last_words)
    end
end

function fleet(words)
    moonport.listen({
        name = "fleet",
        interface = INTERFACE,
        port = tonumber(words[1]) or PORT,
        -- A machine that is silent for so long has gone, even if nobody has closed its connection.
        options = { socket_type = "router", heartbeat_ms = 10000, heartbeat_timeout_ms = 30000 },
        callback = door,
    })
end
