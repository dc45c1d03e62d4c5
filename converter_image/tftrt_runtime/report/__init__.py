"""What a conversion found out, as data (`report.json`) and as a page that a person opens (`report.html`)."""
