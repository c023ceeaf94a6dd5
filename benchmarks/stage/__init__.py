"""What a measurement needs around it: Redis, the platform stub, the systems, and who looks on."""
