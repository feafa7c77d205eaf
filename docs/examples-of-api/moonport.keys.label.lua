-- Gives a key another label.
local ANNA = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="

moonport.keys.label(ANNA, "anna's laptop", function(status)
    print(status.ok and "called so" or status.message) --> called so
end)
