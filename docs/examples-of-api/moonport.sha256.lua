print(moonport.sha256("abc"):sub(1, 16)) --> ba7816bf8f01cfea
