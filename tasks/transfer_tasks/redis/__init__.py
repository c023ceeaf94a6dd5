"""How Redis is reached: one connection for each need, directly or by way of Sentinels."""
