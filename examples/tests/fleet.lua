-- Tests of fleet.lua: `moonport test examples/tests`. Its clients speak ZeroMQ's protocol, which tests do
-- not, so little of it can be seen here.

function test_it_listens_where_it_is_told()
    local app = load("../fleet.lua", { "7000" })
    eq(app:listener("fleet"), { name = "fleet", interface = "zmtp://127.0.0.1", port = 7000 })
    eq(app:output(), { "listening" })
end
