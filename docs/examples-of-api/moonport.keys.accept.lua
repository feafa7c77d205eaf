-- Accepts a key that somebody has brought along.
local KEY = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="

moonport.keys.accept(KEY, "lamp", "Anna's laptop", function(status)
    print("accepted", status.ok) --> accepted	true
end)
