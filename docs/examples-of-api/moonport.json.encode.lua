print(moonport.json.encode({ name = "moon", phases = { 1, 0.5 }, seen = moonport.json.null })) --> {"name":"moon","phases":[1,0.5],"seen":null}
