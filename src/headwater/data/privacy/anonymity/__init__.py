"""Anonymous tables: k-anonymity, l-diversity and t-closeness at the least loss, and the risk that is left."""
