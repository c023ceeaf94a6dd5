"""What may be asked: endpoints, actions, media, caller ids, and how much of each."""
