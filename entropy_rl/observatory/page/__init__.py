"""The report of a run: one HTML page that asks nothing of the network.

In reading order:

    charts     what a chart is made of
    sections   which there are, and why a run may lack one
               (half of them in health_sections)
    curves     their numbers, out of a run
    facts      what the run is, in a few words
    rollouts   recorded responses, token by token
    findings   the verdicts, and the law
    assembly   page.html, style.css and the scripts beside them, put together

Texts of a policy are hostile: they reach the page as JSON that no text can end, and by `textContent` only;
what Python writes into the page is escaped; and the page's Content-Security-Policy lets nothing run or load
but the two texts of ours, which it names by their hashes.
"""
