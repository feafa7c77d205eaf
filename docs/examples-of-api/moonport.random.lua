print(#moonport.random(16)) --> 16
