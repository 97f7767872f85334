"""The three flows of MQTT, played and explained: what each loses and doubles when a packet is lost."""
