print(moonport.sha256("moon"):sub(1, 8), #moonport.sha256("moon", true)) --> 9e78b43e	32
