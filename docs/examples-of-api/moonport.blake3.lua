print(#moonport.blake3("moon"), moonport.blake3("moon") == moonport.blake3("mo" .. "on")) --> 64	true
